"""What knows nothing of distillation: errors, files, random streams, registries, settings, devices, memory."""
