"""gunicorn, fitted so that no thread waits for a slow client."""
