"""What does it look like? Figures, pages, tables, the course."""
