// Makes the calls of the cases with @grpc/grpc-js: `client.js PROTO GOOGLE CASES DATA` prints a tab-separated line for
// each, `ok NAME SEEN` or `FAIL NAME WHY`. PROTO and GOOGLE are the folders that contain longshore/v1 and google/rpc.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const timers = require("node:timers/promises");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [PROTO, GOOGLE, CASES, DATA] = process.argv.slice(2);
// By then, the server has received what was sent.
const SETTLING = 500;

const loaded = loader.loadSync(
  ["longshore/v1/object_service", "longshore/v1/upload_service", "google/rpc/status", "google/rpc/error_details"].map(
    (name) => `${name}.proto`,
  ),
  { includeDirs: [PROTO, GOOGLE], keepCase: true, longs: Number, oneofs: true },
);
const api = grpc.loadPackageDefinition(loaded).longshore.v1;
const decode = (type, bytes) => loaded[type].deserialize(bytes);
const data = fs.readFileSync(DATA);

const CRC32C = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0x82f63b78 : 0);
  return byte;
});

function crc32c(bytes) {
  let value = ~0;
  for (const byte of bytes) value = CRC32C[(value ^ byte) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
}

// Makes the call of one case.
class Caller {
  constructor(each, clients) {
    Object.assign(this, each, clients);
    this.headers = new grpc.Metadata();
    for (const [name, value] of Object.entries(each.metadata)) this.headers.set(name, value);
    this.options = { deadline: Date.now() + each.timeout_ms };
  }

  async get() {
    const call = this.objects.Get({ store: this.store, key: this.key }, this.headers, this.options);
    let [got, meta] = [0, null];
    const seen = await this.read(call, (message) => {
      assert.strictEqual(message.info != null, meta === null, "info must be in the first message only");
      meta ??= message.info.meta;
      if (message.chunk == null) return;
      got += this.take(message.chunk, got);
      if (this.cancel) call.cancel();
    });
    return { ...seen, bytes: got, ...(meta && { key: meta.key, size: meta.size ?? 0 }) };
  }

  async getRanges() {
    const ranges = this.ranges.map(([start, end]) => ({ bounded: { start, end } }));
    const request = { store: this.store, key: this.key, ranges };
    if (this.coalesce !== null) request.coalesce_bytes = this.coalesce;
    const call = this.objects.GetRanges(request, this.headers, this.options);
    const got = ranges.map(() => 0);
    let [first, last] = [true, 0];
    const seen = await this.read(call, (message) => {
      assert.strictEqual(message.info != null, first, "info must be in the first message only");
      first = false;
      if (message.chunk == null) return;
      // Zeros are not on the wire.
      const { range_index: index = 0, offset = 0 } = message;
      assert(index >= last, "the ranges are not in the requested order");
      last = index;
      assert.strictEqual(offset, this.ranges[index][0] + got[index], "a message has a wrong offset");
      got[index] += this.take(message.chunk, offset);
    });
    if (seen.code === grpc.status.OK) {
      assert.deepStrictEqual(got, this.ranges.map(([start, end]) => end - start), "a range is incomplete");
    }
    return { ...seen, bytes: got.reduce((sum, count) => sum + count, 0) };
  }

  async upload() {
    const spec = { store: this.store, key: this.key, ...(this.size !== null && { size: this.size }) };
    const { seen, answer } = await this.stream(this.objects, "Upload", spec, { finish: this.finish });
    return answer ? { ...seen, key: answer.meta.key, size: answer.meta.size ?? 0, parts: answer.parts ?? 0 } : seen;
  }

  writeUpload() {
    return this.written((spec, last) => this.stream(this.uploads, "WriteUpload", spec, last));
  }

  writeUploadWithProgress() {
    return this.written(async (spec, last) => {
      let [end, answer] = [0, null];
      const { seen } = await this.stream(this.uploads, "WriteUploadWithProgress", spec, last, (message) => {
        assert(answer === null, "a message follows the result");
        if (message.result) return (answer = message.result);
        assert(message.progress.persisted_end > end, "progress does not grow");
        end = message.progress.persisted_end;
      });
      if (answer) assert.strictEqual(end, answer.persisted_size ?? 0, "the last progress is not the size written");
      return { seen, answer };
    });
  }

  async written(write) {
    const started = await this.unary("StartUpload", { store: this.store, key: this.key });
    const spec = { upload_id: started.upload_id, offset: this.offset };
    const { seen, answer } = await write(spec, { end: {} });
    if (answer) {
      const finished = await this.unary("FinishUpload", { upload_id: started.upload_id, ...this.finish });
      seen.size = answer.persisted_size ?? 0;
      assert.strictEqual(finished.meta.size ?? 0, seen.size, "the object's size is not the size written");
    }
    return seen;
  }

  // Reads a stream to its end.
  async read(call, take) {
    const told = listen(call);
    let wrong;
    call.on("data", (message) => {
      try {
        take(message);
      } catch (error) {
        wrong ??= error;
      }
    });
    call.on("error", () => {});
    const status = await new Promise((resolve) => call.on("status", resolve));
    // Wait until all messages that arrived before the status have been delivered.
    if (status.code === grpc.status.OK && !call.readableEnded) await new Promise((resolve) => call.on("end", resolve));
    if (wrong) throw wrong;
    return outcome(status, told);
  }

  // Sends the messages of an upload. Returns what was seen, and the response if there is one. If the method has several
  // responses, `take` receives each.
  async stream(client, method, spec, last, take) {
    let [answer, over, wrong] = [null, false, null];
    const call = take
      ? client[method](this.headers, this.options)
      : client[method](this.headers, this.options, (error, message) => (answer = error ? null : message));
    const told = listen(call);
    if (take) {
      call.on("data", (message) => {
        try {
          take(message);
        } catch (error) {
          wrong ??= error;
        }
      });
      call.on("error", () => {});
    }
    const status = new Promise((resolve) => call.on("status", resolve)).finally(() => (over = true));
    const send = (message) => over || Promise.race([status, new Promise((sent) => call.write(message, sent))]);
    await send({ spec });
    for (const chunk of this.parts()) await send({ chunk });
    if (this.ending === "close") {
      await send(last);
      call.end();
    } else if (this.ending === "cancel") {
      await timers.setTimeout(SETTLING);
      call.cancel();
    }
    const seen = outcome(await status, told);
    if (wrong) throw wrong;
    return { seen, answer };
  }

  *parts() {
    let start = 0;
    for (const [index, size] of this.chunks.entries()) {
      const piece = data.subarray(start, start + size);
      start += size;
      const checksum = this.bare ? {} : { crc32c: (crc32c(piece) ^ (index === this.damaged ? 1 : 0)) >>> 0 };
      yield { data: piece, ...checksum };
    }
  }

  unary(method, request) {
    return new Promise((resolve, reject) => {
      this.uploads[method](request, this.headers, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  take(chunk, offset) {
    const expected = data.subarray(offset, offset + chunk.data.length);
    assert(chunk.data.equals(expected), `the bytes from offset ${offset} on differ from the object's`);
    assert.strictEqual(chunk.crc32c, crc32c(chunk.data), `the checksum of the chunk at offset ${offset} is wrong`);
    return chunk.data.length;
  }
}

// Keeps the response's headers.
function listen(call) {
  const told = { headers: new grpc.Metadata() };
  call.on("metadata", (headers) => (told.headers = headers));
  return told;
}

// Returns the status, details and metadata of a call.
function outcome(status, told) {
  const [headers, trailers] = [told.headers, status.metadata];
  const seen = {
    code: status.code,
    message: status.details,
    headers: Object.keys(headers.getMap()).sort(),
    trailers: Object.keys(trailers.getMap()).sort(),
    request_id: [...headers.get("x-request-id"), ...trailers.get("x-request-id")].join(),
  };
  const [details] = trailers.get("grpc-status-details-bin");
  if (!details) return seen;
  const whole = decode("google.rpc.Status", details);
  const info = whole.details.find((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"));
  const { reason, domain, metadata } = decode("google.rpc.ErrorInfo", info.value);
  const facts = Object.keys(metadata).sort();
  return { ...seen, details_code: whole.code, details_message: whole.message, reason, domain, facts };
}

async function main() {
  const cases = JSON.parse(fs.readFileSync(CASES));
  const clients = {};
  const calls = { Get: "get", GetRanges: "getRanges", Upload: "upload", WriteUpload: "writeUpload",
    WriteUploadWithProgress: "writeUploadWithProgress" };
  for (const each of cases) {
    // grpc-js sets compression per channel, not per call. The proxy settings of the environment are ignored.
    const options = { "grpc.enable_http_proxy": 0 };
    if (each.gzip) options["grpc.default_compression_algorithm"] = grpc.compressionAlgorithms.gzip;
    const open = (Service) => new Service(each.address, grpc.credentials.createInsecure(), options);
    const both = () => ({ objects: open(api.ObjectService), uploads: open(api.UploadService) });
    const found = (clients[`${each.address} ${each.gzip}`] ??= both());
    try {
      const seen = await new Caller(each, found)[calls[each.call]]();
      console.log(["ok", each.name, JSON.stringify(seen)].join("\t"));
    } catch (error) {
      console.log(["FAIL", each.name, String(error.stack).replace(/\s+/g, " ")].join("\t"));
    }
  }
  for (const { objects, uploads } of Object.values(clients)) [objects, uploads].forEach((client) => client.close());
}

main();
