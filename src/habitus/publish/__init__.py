"""Datasets on their way out of a study and into it: exports, cards, the Hugging Face hub, foreign data."""
