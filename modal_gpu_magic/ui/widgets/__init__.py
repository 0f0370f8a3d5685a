"""The dashboard and the picker as widgets, and the messages of their pages."""
