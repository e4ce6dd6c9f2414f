"""Many recordings, labelled in shards that can be worked on anywhere."""
