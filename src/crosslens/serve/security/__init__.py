"""Who may ask: API keys, host names, rate limits, and which addresses may be fetched. Knows no library."""
