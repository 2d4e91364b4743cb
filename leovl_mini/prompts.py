"""What the language model reads: role, then the scene tokens, then the question (LEO's order)."""

ROLE = "You are an AI visual assistant situated in a 3D room."
SITUATION = "This is what the room holds:"


def build_prompt(question: str, style: str = "plain") -> tuple[str, str]:
    """The text before and after the scene tokens. ``style``: "plain" (USER/ASSISTANT, as LEO) or "chat" (SmolLM2's own markers)."""
    if style == "plain":
        return f"{ROLE} {SITUATION} ", f" USER: {question} ASSISTANT:"
    if style == "chat":
        before = f"<|im_start|>system\n{ROLE}<|im_end|>\n<|im_start|>user\n{SITUATION} "
        return before, f"\n{question}<|im_end|>\n<|im_start|>assistant\n"
    raise ValueError(f"unknown prompt style {style!r}; choose 'plain' or 'chat'")
