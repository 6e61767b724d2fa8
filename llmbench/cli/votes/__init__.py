"""The commands about what people say."""
