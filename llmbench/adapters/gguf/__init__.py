"""GGUF files, run by llama.cpp in the process."""
