"""How the bundled models are made: needs TensorFlow, runs on a developer's machine, is never deployed."""
