"""What is said about a room: wordings, sentences, captions, dialogues, plans and lists."""
