"""What only looks like a secret, and has to stay as it is: identifiers, signatures, pictures, hashes, words."""

from __future__ import annotations

import base64
import json
import string

ALNUM = string.digits + string.ascii_letters
HEX = string.digits + "abcdef"
IDENTIFIERS = [
    "chatcmpl-",
    "msg_01",
    "resp_",
    "rs_",
    "fc_",
    "call_",
    "toolu_01",
    "srvtoolu_",
    "req_011",
    "run_",
    "thread_",
    "asst_",
    "file-",
    "file_",
    "batch_",
    "vs_",
    "gen-",
    "cmpl-",
    "ws_",
    "ig_",
    "mcp_",
    "mcpl_",
    "msgbatch_",
    "container_",
    "cntr_",
    "sess_",
    "item_",
    "event_",
    "evt_",
    "conv_",
    "embd-",
    "modr-",
    "ftjob-",
    "step_",
    "upload_",
    "part_",
    "re_",
    "cus_",
    "pi_",
    "sub_",
    "price_",
    "acct_",
    "pm_",
    "ch_",
    "in_",
    "org-",
    "proj_",
    "user-",
    "wrkspc_",
    "tool_",
    "chatcmpl-tool-",
    "ft:gpt-4o:org::",
]


def documents(rand):
    """Yield documents, each of one sort of values."""

    def text(signs, length):
        return "".join(rand.choices(signs, k=length))

    def binary(size, encode=base64.b64encode):
        return encode(rand.randbytes(size)).decode()

    yield from ({"id": prefix + text(ALNUM, 24)} for prefix in IDENTIFIERS)
    yield from ({"id": prefix + text(HEX, 48)} for prefix in IDENTIFIERS[:8])
    yield from _of_providers(text, binary, rand)
    yield from _of_programs(text, binary)
    yield from _words(text)


def _of_providers(text, binary, rand):
    tokens = ["The", " key", " is", " sk", "-", " no"]
    said = [{"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []} for token in tokens]
    yield {"type": "thinking", "signature": binary(600)}
    yield {"type": "thinking", "signature": binary(5000)}
    yield {"encrypted_content": "gAAAAAB" + binary(3000, base64.urlsafe_b64encode)}
    yield {"thoughtSignature": binary(1200), "responseId": text(ALNUM, 22)}
    yield {"image_url": "data:image/png;base64," + binary(20_000)}
    yield {"b64_json": binary(30_000)}
    yield {"embedding": [rand.uniform(-1, 1) for _ in range(300)]}
    yield {"embedding": binary(1536)}
    yield {"int8": [rand.randrange(-128, 128) for _ in range(300)], "uint8": [rand.randrange(256) for _ in range(300)]}
    yield {"logprobs": {"content": said}}
    yield {"obfuscation": text(ALNUM, 12), "system_fingerprint": "fp_" + text(HEX, 10)}
    yield {"next_page_token": "CAUQAA" + text(ALNUM, 20)}
    yield {"nextPageToken": text(ALNUM, 30)}
    yield {"prompt_cache_key": "user-" + text(HEX, 24)}
    yield {"model": "accounts/fireworks/models/llama-v3p1-405b-instruct"}
    yield {"model": "us.anthropic.claude-sonnet-4-20250514-v1:0"}
    yield {"usage": {"prompt_tokens": 12, "total_tokens": 46}, "max_tokens": 100, "token": "Hello", "key": "value"}


def _of_programs(text, binary):
    yield {"uuid": "123e4567-e89b-12d3-a456-426614174000"}
    yield {"commit": f"git checkout {text(HEX, 40)}"}
    yield {"sha256": text(HEX, 64), "digest": "sha256:" + text(HEX, 64)}
    yield {"integrity": "sha512-" + binary(64)}
    yield {"etag": f'"{text(HEX, 40)}"'}
    yield {"idempotency_key": text(ALNUM, 30), "cache_key": text(HEX, 32), "primary_key": "id_" + text(HEX, 24)}
    yield {"public_key": "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A" + binary(200)}
    yield {"text": f"-----BEGIN CERTIFICATE-----\n{binary(48)}\n{binary(48)}\n-----END CERTIFICATE-----"}
    yield {"text": f"-----BEGIN PUBLIC KEY-----\n{binary(48)}\n-----END PUBLIC KEY-----"}
    yield {"ssh": f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{binary(32)} me@host"}
    yield {"trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    yield {"hash": "$2b$10$" + text(ALNUM, 53)}
    yield {"address": "0x" + text(HEX, 40), "transaction": "0x" + text(HEX, 64)}
    yield {"cursor": base64.b64encode(b'{"id": 12345, "after": "2024"}').decode()}
    yield {"base64": base64.b64encode(b"a text about refunds and tokens. " * 20).decode()}
    yield {"video": "https://www.youtube.com/watch?v=dQw4w9WgXcQ"}
    yield {"document": f"https://docs.example.com/document/d/1{text(ALNUM, 43)}/edit"}
    yield {"picture": f"https://bucket.s3.amazonaws.com/a/b/{text(HEX, 32)}.png"}
    yield {"font": "data:font/woff2;base64," + binary(9000)}


def _words(text):
    yield {
        "css": "sk-spinner double-bounce2 sk-spinner-double-bounce2 sk-folding-cube1 sk-circle10-before sk-chase-dot"
    }
    aws = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
    yield {"aws": f"AKIAIOSFODNN7EXAMPLE {aws} aws_secret_access_key = {aws}"}
    yield {"url": "https://shop.example/?code=summer2026sale&page=2"}
    yield {"text": "?code=summer2026sale saves you a third"}
    yield {"cookie": "chocolate chip"}
    yield {"password": "hunter2"}
    yield {
        "input": {"password": "correct horse battery", "token": "abc123def456ghi789jkl0", "cookie": "a=b; theme=dark"}
    }
    arguments = {"password": "Tr0ub4dor&3", "token": text(HEX, 32), "cookie": "sid=1", "secret": "the cake is a lie"}
    yield {"arguments": json.dumps(arguments)}
    yield {"text": "Look for a line that says -----BEGIN PRIVATE " + "KEY----- and delete the file."}
    yield {"text": "-----BEGIN PRIVATE " + "KEY-----\n...\n-----END PRIVATE " + "KEY-----"}
    yield {"key": f"pk_live_{text(ALNUM, 24)} pk_test_{text(ALNUM, 24)}"}
    yield {
        "text": "const apiKey = process.env.OPENAI_API_KEY; key: value, token: bearer, TOKEN=${TOKEN} SECRET=$(cat /run/secrets/x)"
    }
    yield {
        "text": f"my-service-7d9f8b6c5d-x2x4z sm_90a con-text rc_params lip_sync 0.Apples s.getBoundingClientRect().width {text(HEX, 7)}"
    }
    yield {"text": f"task-{text(HEX, 32)} desk-{text(ALNUM, 24)} risk-averse-people-are-here"}
    yield {"text": "postgresql://localhost:5432/db and postgres://user:password@localhost/db"}
    yield {"text": f"OPENAI_API_KEY=sk-proj-{'x' * 24}, sk-..., sk-ant-api03-your-key-here, ghp_{'x' * 36}"}
    yield {"text": "api_key=os.environ['OPENAI_API_KEY'] and password: str = Field(..., min_length=12)"}
    yield {"text": "hf_transformers_integration_tests npm_config_registry gsk_something_else live_streaming_videos"}
    yield {"text": "def get_token(self): token = self.client.auth2.getAccessTokenV2(refresh)"}
    yield {"text": "1/2 and 2/3 of 1000.5, version 1.2.3-rc.4+build.5114f85 of 2024-01-02T03:04:05.678901Z"}
    yield {"iban": "DE89370400440532013000", "phone": "+1 555 010 9999", "mac": "00:1A:2B:3C:4D:5E"}
