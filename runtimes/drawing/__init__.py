"""Pictures and videos for people to look at: labels laid over frames, sheets of many, video files."""
