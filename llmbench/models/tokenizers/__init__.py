"""From text to tokens, and the bytes that each token stands for."""
