"""Tests of the documents: their code blocks, and the tables that are generated from the code."""
