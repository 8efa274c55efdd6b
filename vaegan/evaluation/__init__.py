"""How a model is judged: one metric per file, arrays in, numbers out."""
