// A gateway as one would write it in a day with grpc-go and aws-sdk-go-v2.
// LISTEN is the address to listen on, ENDPOINT the URL of the S3 server, BUCKET the bucket.
package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "longshore.bench/gateway/longshore/v1"
)

const (
	piece = 256 << 10
	part  = 8 << 20
)

var bucket = os.Getenv("BUCKET")

type gateway struct {
	pb.UnimplementedObjectServiceServer
	s3       *s3.Client
	uploader *manager.Uploader
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	settings, err := config.LoadDefaultConfig(context.Background(), config.WithRegion("us-east-1"))
	if err != nil {
		return err
	}
	client := s3.NewFromConfig(settings, func(options *s3.Options) {
		options.BaseEndpoint = aws.String(os.Getenv("ENDPOINT"))
		options.UsePathStyle = true
		options.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		options.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		options.APIOptions = append(options.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	})
	uploader := manager.NewUploader(client, func(uploader *manager.Uploader) {
		uploader.PartSize = part
		uploader.Concurrency = 8
		uploader.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})
	listener, err := net.Listen("tcp", os.Getenv("LISTEN"))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterObjectServiceServer(server, &gateway{s3: client, uploader: uploader})
	return server.Serve(listener)
}

func (g *gateway) Get(request *pb.GetRequest, stream grpc.ServerStreamingServer[pb.GetResponse]) error {
	input := &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &request.Key}
	answer, err := g.s3.GetObject(stream.Context(), input)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	meta := &pb.ObjectMeta{Key: request.Key, Size: aws.ToInt64(answer.ContentLength), Etag: aws.ToString(answer.ETag)}
	if err := stream.Send(&pb.GetResponse{Info: &pb.GetInfo{Meta: meta}}); err != nil {
		return err
	}
	buffer := make([]byte, piece)
	for {
		count, err := io.ReadFull(answer.Body, buffer)
		if count > 0 {
			if err := stream.Send(&pb.GetResponse{Chunk: &pb.Chunk{Data: buffer[:count]}}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (g *gateway) Put(ctx context.Context, request *pb.PutRequest) (*pb.PutResponse, error) {
	input := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &request.Key, Body: bytes.NewReader(request.Data)}
	answer, err := g.s3.PutObject(ctx, input)
	if err != nil {
		return nil, err
	}
	meta := &pb.ObjectMeta{Key: request.Key, Size: int64(len(request.Data)), Etag: aws.ToString(answer.ETag)}
	return &pb.PutResponse{Meta: meta}, nil
}

// messages is a reader over the bytes in an upload's messages.
type messages struct {
	stream grpc.ClientStreamingServer[pb.UploadRequest, pb.UploadResponse]
	held   []byte
	size   int64
}

func (m *messages) Read(into []byte) (int, error) {
	for len(m.held) == 0 {
		message, err := m.stream.Recv()
		if err != nil {
			return 0, err
		}
		m.held = message.GetChunk().GetData()
		m.size += int64(len(m.held))
	}
	count := copy(into, m.held)
	m.held = m.held[count:]
	return count, nil
}

func (g *gateway) Upload(stream grpc.ClientStreamingServer[pb.UploadRequest, pb.UploadResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	key := first.GetSpec().GetKey()
	body := &messages{stream: stream}
	input := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: body}
	answer, err := g.uploader.Upload(stream.Context(), input)
	if err != nil {
		return err
	}
	meta := &pb.ObjectMeta{Key: key, Size: body.size, Etag: aws.ToString(answer.ETag)}
	return stream.SendAndClose(&pb.UploadResponse{Meta: meta, Parts: int32(len(answer.CompletedParts))})
}

func (g *gateway) Walk(_ *pb.WalkRequest, stream grpc.ServerStreamingServer[pb.WalkResponse]) error {
	pages := s3.NewListObjectsV2Paginator(g.s3, &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(stream.Context())
		if err != nil {
			return err
		}
		answer := &pb.WalkResponse{Objects: make([]*pb.ObjectMeta, 0, len(page.Contents))}
		for _, object := range page.Contents {
			answer.Objects = append(answer.Objects, &pb.ObjectMeta{
				Key:          aws.ToString(object.Key),
				Size:         aws.ToInt64(object.Size),
				Etag:         aws.ToString(object.ETag),
				LastModified: timestamppb.New(aws.ToTime(object.LastModified)),
			})
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	return nil
}
