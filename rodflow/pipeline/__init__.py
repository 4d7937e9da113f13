"""From a config to files: where each lies, what it holds, whether it is finished, which code made it; the stages."""
