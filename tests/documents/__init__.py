"""The documents as tests see them: their code blocks, and the tables that follow from the code."""
