"""The patients' webmail: letters by name, answers where a professional opened a conversation, documents."""
