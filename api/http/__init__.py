"""All that knows FastAPI or Starlette: the application, the guard, request bodies, streams."""
