"""Detection statistics, alert life cycle, evidence and delivery."""
