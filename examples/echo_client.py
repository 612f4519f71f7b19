"""A secure echo client: ``python echo_client.py CODE TEXT``."""

import asyncio
import sys

import wraith


async def main(code: str, text: str) -> None:
    async with wraith.connect(code) as session, session.open_stream() as stream:
        await stream.write(text.encode())
        stream.finish()
        print((await stream.read_all()).decode())
        print("over", session.security.key_exchange, file=sys.stderr)


asyncio.run(main(*sys.argv[1:3]))
