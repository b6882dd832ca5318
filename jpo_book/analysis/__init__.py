"""What the results of studies say: costs, verdicts on the claims, and how far they hold."""
