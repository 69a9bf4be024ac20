import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else `import litellm` fetches a table of prices, before any test

import litellm

litellm.disable_hf_tokenizer_download = True  # else models named like Llama 3 or Cohere's are counted with a download
litellm.suppress_debug_info = True
