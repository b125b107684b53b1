"""The models of several accounts and Regions in one view."""
