"""Servers of one model compared: CPU per request, cold start, memory."""
