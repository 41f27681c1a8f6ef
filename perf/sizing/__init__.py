"""From queries a day to machines, megawatts and money, each result with its interval."""
