"""Stream enormous or endless answers with constant memory."""
