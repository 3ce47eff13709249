"""Facts and figures about the streams of this machine, for those who only look; `chronostream.cli` renders them."""
