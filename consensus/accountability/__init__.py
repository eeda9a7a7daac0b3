"""What we may sign (`guard`). Apart from the engines, because it must hold whatever they do."""
