"""Many chips: how a model is split over them, their links, and queries served by virtual clock."""
