"""The book about `jpo_lib`: studies, what they say, and the figures, tables and pages that show it."""
