"""A secure echo server: prints the code that a client needs, then echoes every stream."""

import asyncio

import wraith


async def main() -> None:
    async with wraith.listen() as listener:
        print(listener.code, flush=True)
        async for session in listener:
            async for stream in session:
                async for data in stream:
                    await stream.write(data)
                stream.finish()


asyncio.run(main())
