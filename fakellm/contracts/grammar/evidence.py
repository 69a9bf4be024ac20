"""What recordings say of the rules: how many streams were counted, and who breaks which rule.

The streams are those of real services that a corpus of recordings holds, and those of self-hosted servers in
`cassettes/`. A stream that broke off, or is not as it was sent, is not counted. What nobody breaks here may be
broken in recordings that are not among them; a rule that somebody was seen to break by habit is not one of "any".
"""

from __future__ import annotations

COUNTED: dict[str, int] = {
    "openai_chat": 87,
    "openai_completions": 12,
    "openai_responses": 43,
    "anthropic_messages": 26,
    "gemini": 11,
    "ollama_chat": 2,
    "ollama_generate": 2,
    "cohere_chat": 4,
    "bedrock_converse": 5,
    "gemini_interactions": 1,
    "mistral_chat": 4,
    "mistral_conversations": 0,
    "dashscope_generation": 0,
    "replicate_predictions": 1,
}
"""The API of a grammar -> how many recorded streams were counted."""

BROKEN: dict[str, dict[str, int]] = {
    "anthropic_messages.block_order": {
        "llama.cpp b11434": 1,
    },
    "anthropic_messages.error_event": {
        "llama.cpp b11434": 1,
    },
    "anthropic_messages.tool_input": {
        "llama.cpp b11434": 1,
    },
    "openai_chat.content": {
        "mistral": 2,
    },
    "openai_chat.done": {
        "transformers 5.23": 1,
        "writer": 2,
    },
    "openai_chat.finish_alone": {
        "local": 1,
        "mistral": 2,
        "moonshotai": 1,
        "vLLM 0.32.0": 2,
    },
    "openai_chat.finish_last": {
        "openrouter": 2,
    },
    "openai_chat.finish_reason": {
        "alibaba": 1,
        "cerebras": 2,
        "perplexity": 1,
        "transformers 5.23": 1,
        "xai": 2,
        "zai": 2,
    },
    "openai_chat.object": {
        "azure": 11,
        "mlx-lm 0.32.2": 1,
        "moonshotai": 1,
        "perplexity": 1,
    },
    "openai_chat.one_finish": {
        "openrouter": 2,
    },
    "openai_chat.role": {
        "groq": 1,
    },
    "openai_chat.role_once": {
        "llama.cpp b11434": 1,
        "local": 1,
        "mlx-lm 0.32.2": 2,
        "openrouter": 5,
        "perplexity": 1,
        "writer": 2,
        "zai": 2,
    },
    "openai_chat.same_created": {
        "azure": 11,
        "groq": 2,
        "llama.cpp b11434": 1,
        "perplexity": 1,
        "xai": 2,
    },
    "openai_chat.same_id": {
        "azure": 11,
        "groq": 1,
    },
    "openai_chat.same_model": {
        "azure": 11,
    },
    "openai_chat.tool_later": {
        "alibaba": 1,
        "llama-cpp-python 0.3.36": 1,
    },
    "openai_chat.tool_order": {
        "anthropic": 1,
    },
    "openai_chat.tool_pieces": {
        "cerebras": 2,
        "groq": 2,
        "llama-cpp-python 0.3.36": 1,
        "llama.cpp b11434": 1,
        "mistral": 1,
        "mlx-lm 0.32.2": 1,
        "vLLM 0.32.0": 2,
        "xai": 1,
        "zai": 1,
    },
    "openai_chat.usage": {
        "cerebras": 2,
        "deepseek": 4,
        "groq": 3,
        "llama.cpp b11434": 1,
        "local": 1,
        "mistral": 4,
        "moonshotai": 1,
        "openrouter": 3,
        "perplexity": 1,
        "transformers 5.23": 1,
        "vLLM 0.32.0": 2,
        "zai": 2,
    },
    "openai_chat.usage_total": {
        "xai": 2,
    },
    "openai_completions.choice_index": {
        "local": 1,
    },
    "openai_completions.done": {
        "transformers 5.23": 1,
    },
    "openai_completions.null": {
        "llama.cpp b11434": 1,
    },
    "openai_completions.usage": {
        "llama.cpp b11434": 1,
        "transformers 5.23": 1,
    },
    "openai_responses.done_text": {
        "lmstudio": 1,
    },
    "openai_responses.error_event": {
        "llama.cpp b11434": 1,
    },
    "openai_responses.event_name": {
        "openrouter": 1,
        "transformers 5.23": 1,
    },
    "openai_responses.item_id": {
        "github-copilot": 1,
    },
    "openai_responses.output_index": {
        "llama.cpp b11434": 2,
    },
    "openai_responses.same_id": {
        "github-copilot": 1,
    },
    "openai_responses.status": {
        "vLLM 0.32.0": 1,
    },
    "openai_responses.terminal_last": {
        "openrouter": 1,
    },
    "sse.blank_line": {
        "anthropic": 1,
    },
}
"""A rule -> who breaks it, and in how many of these streams; a server is named with its version."""
