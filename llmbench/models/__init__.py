"""The roadmap's networks, one short readable file a stage. They know ids and tensors, and nothing
of text or scoring.
"""
