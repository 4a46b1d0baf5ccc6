"""How alike two clips must be; chosen on --recordings even of real data, and measured on --recordings odd."""

THRESHOLD = 0.5  # least correlation of near-duplicates; clips that share half reach 0.8, strangers rarely 0.4
DISTANCE = 0.6  # 1 - cosine at which groups stay apart; coarser than recordings, for what is torn apart leaks
