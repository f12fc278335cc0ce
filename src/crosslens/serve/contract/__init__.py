"""What requests and answers look like: models of requests, of responses, and the OpenAPI document."""
