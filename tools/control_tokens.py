"""The control tokens of chat formats, in text that is shown to a model: made harmless, and whole again.

Many servers take a control token for the real one wherever it stands: `<|im_end|>` in a file that is shown would end
the tool's turn. An invisible joiner behind the first character prevents it. Which tokens there are is in the tokenizer
and the chat template that each model publishes; named here are those of Qwen, GLM, DeepSeek, Kimi, MiniMax, Gemma,
Llama, Mistral, gpt-oss, Seed, LongCat, Nemotron, Granite, Command and Phi.
"""

import re

JOINER = "\u2060"  # word joiner: invisible, zero width, and no tokenizer's control token holds one

# No token may begin within another, but at its last character: a joiner there would hide the outer one.
_ANGLES = "|".join((
    r"\|[^\s<>|\[\]\u2060]{1,40}\|?>",  # ChatML, GLM, Kimi, Llama 3, gpt-oss, Phi: <|user|>; Gemma 4: <|turn>
    r"[A-Za-z_]{1,40}\|>",  # Gemma 4: <turn|>
    r"/?\uff5c[^\uff5c<>\[\]\n\u2060]{1,40}\uff5c",  # DeepSeek: <｜User｜>, </｜DSML｜invoke>
    r"/?(?:think|tool_call|tool_calls|tool_response|TOOLCALL|TOOL_RESPONSE)>",  # Qwen, GLM, MiniMax; Nemotron
    r"/?(?:arg_key|arg_value|minimax:tool_call|(?:seed:|longcat_)[a-z_]{1,40})>",
    r"/?s>|(?:bos|eos|pad|unk|sop|eop|SPECIAL_[0-9]{1,4})>",
    r"(?:start|end)_of_(?:turn|image)>|start_function_(?:call|response|declaration)>",  # Gemma 1 to 3
    r"end_function_(?:call|response|declaration)>|</?SYS>>",  # FunctionGemma; Llama 2
))  # fmt: skip
_SQUARES = "|".join((
    r"/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|THINK|ARGS|CALL_ID)\]",  # Mistral
    r"(?:gMASK|IMG|IMG_END|IMG_BREAK|PREFIX|SUFFIX|MIDDLE|BOS|EOS|EOT|UNK|PAD)\]",
    r"e~\[",  # MiniMax
))  # fmt: skip
_CLOSING = r"~b\]|~!b\["  # MiniMax
_STARTS = (("<", _ANGLES), (r"\[", _SQUARES), (r"\]", _CLOSING))
_CONTROL_TOKEN = re.compile("|".join(rf"{start}(?=\u2060*+(?:{rest}))" for start, rest in _STARTS))
_DEFUSED_TOKEN = re.compile("|".join(rf"(?<={start})\u2060(?=\u2060*+(?:{rest}))" for start, rest in _STARTS))


def neutralise(text: str) -> str:
    """Defuse control tokens; text without one stays as it is. `restore` is the exact inverse."""
    return _CONTROL_TOKEN.sub(rf"\g<0>{JOINER}", text)


def restore(text: str) -> str:
    """Undo `neutralise`, for text that a model copied from what it was shown."""
    return _DEFUSED_TOKEN.sub("", text)
