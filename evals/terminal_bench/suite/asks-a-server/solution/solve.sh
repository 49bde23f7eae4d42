#!/bin/bash
call='{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "balance", "arguments": {"account": "4711"}}}'
echo "$call" | bank --branch north | grep -o '"text": "[0-9]*"' | grep -o '[0-9]*' >/app/balance.txt
