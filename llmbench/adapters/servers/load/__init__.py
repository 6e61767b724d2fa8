"""Puts a server under a load: one thread, one event loop, and no work while answers come that can
wait until they have ended.
"""
