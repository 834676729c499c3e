"""HTTP CLIENTS: Crossbar's registrations endpoints; a view parses, calls one function, serialises."""
