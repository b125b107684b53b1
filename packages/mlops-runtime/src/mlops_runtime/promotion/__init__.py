"""Promotion of models between accounts: releases of a source account, and their registration in a target account."""
