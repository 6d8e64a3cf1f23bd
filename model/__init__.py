"""The models, what describes and serves them, and (in `training/`, never deployed) what makes them."""
