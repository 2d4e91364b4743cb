"""What is said about a room: wordings, sentences, captions, dialogues, plans and lists.

Explained in notebook 01 (RGB-D frames and cameras).
"""
