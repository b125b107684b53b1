"""Servers of one model beside each other: CPU a request, cold start, memory."""
