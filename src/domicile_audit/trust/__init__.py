"""What an auditor brings: whose keys count, what else is asked for; and the answer to that, promise by promise."""
