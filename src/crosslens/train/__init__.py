"""Training: pairs of pictures and texts in, a model bundle out.

Three depths: a linear map over the vectors of a finished model (`heads`), adapters in a transformers or
open_clip checkpoint (`adapters`), and the towers themselves (`whole`). Nothing here knows libraries, search
or the service. Everything but the settings needs the extra `train`.
"""
