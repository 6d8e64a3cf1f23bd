"""Cloud Scheduler's API on loopback: the one that a rehearsed deployment meets."""

from deployment.rehearsal.cloud_scheduler import CloudSchedulerEmulator, cloud_scheduler_emulator

__all__ = ["CloudSchedulerEmulator", "cloud_scheduler_emulator"]
