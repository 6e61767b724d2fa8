"""What is asked of a model. A task takes an adapter and gives an outcome; it knows no file and no
board.
"""
