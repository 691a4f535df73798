"""The nodes of the policy stage and of the inspection of its data."""
