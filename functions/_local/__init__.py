"""Every function on one laptop: processes, logs, restarts, the real schedule, and a demonstration."""
