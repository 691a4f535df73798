"""Navigation as a dialogue: its data, its model's training, and the closed loop."""
